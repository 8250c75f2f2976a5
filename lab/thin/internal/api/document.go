package api

// Walking through decoded JSON. What is missing or of another type reads as empty.

func dig(document map[string]any, path ...string) any {
	var at any = document
	for _, name := range path {
		inner, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = inner[name]
	}
	return at
}

func text(document map[string]any, path ...string) string {
	found, _ := dig(document, path...).(string)
	return found
}

func slice(document map[string]any, path ...string) []any {
	found, _ := dig(document, path...).([]any)
	return found
}

func texts(document map[string]any, path ...string) []string {
	var all []string
	for _, item := range slice(document, path...) {
		if word, ok := item.(string); ok {
			all = append(all, word)
		}
	}
	return all
}
