package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Handler is the hypervisor's protocol of lab/README.md, and /thin/ for tests.
func (h *Host) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /vms/{uuid}", func(w http.ResponseWriter, r *http.Request) {
		var doc Document
		if decode(w, r, &doc) {
			doc.UUID = uuidOf(r)
			h.put(doc)
			done(w, http.StatusNoContent, nil)
		}
	})
	mux.HandleFunc("PUT /vms/{uuid}/guestinfo", func(w http.ResponseWriter, r *http.Request) {
		var changes map[string]*string
		if decode(w, r, &changes) {
			if g := h.find(uuidOf(r)); g != nil {
				g.change(changes)
			}
			done(w, http.StatusNoContent, nil)
		}
	})
	mux.HandleFunc("DELETE /vms/{uuid}", func(w http.ResponseWriter, r *http.Request) {
		h.remove(uuidOf(r))
		done(w, http.StatusNoContent, nil)
	})
	for _, verb := range []string{"power-on", "power-off", "reset"} {
		mux.HandleFunc("POST /vms/{uuid}/"+verb, func(w http.ResponseWriter, r *http.Request) {
			done(w, http.StatusNoContent, h.act(uuidOf(r), verb))
		})
	}
	for _, verb := range []string{"shutdown", "reboot"} { // the guest does it in its own time
		mux.HandleFunc("POST /vms/{uuid}/"+verb, func(w http.ResponseWriter, r *http.Request) {
			uuid := uuidOf(r)
			if h.find(uuid) == nil {
				done(w, http.StatusAccepted, ErrUnknown)
				return
			}
			go func() { _ = h.act(uuid, verb) }()
			done(w, http.StatusAccepted, nil)
		})
	}
	for _, verb := range []string{"die", "hang"} {
		mux.HandleFunc("POST /thin/guests/{uuid}/"+verb, func(w http.ResponseWriter, r *http.Request) {
			done(w, http.StatusNoContent, h.act(uuidOf(r), verb))
		})
	}
	mux.HandleFunc("POST /thin/guests/{uuid}/lease", func(w http.ResponseWriter, r *http.Request) {
		done(w, http.StatusNoContent, h.leaseAnother(uuidOf(r)))
	})
	mux.HandleFunc("GET /thin/guests", func(w http.ResponseWriter, _ *http.Request) { answer(w, h.list()) })
	mux.HandleFunc("GET /thin/settings", func(w http.ResponseWriter, _ *http.Request) { answer(w, h.estate.Settings()) })
	mux.HandleFunc("PUT /thin/settings", func(w http.ResponseWriter, r *http.Request) {
		settings := h.estate.Settings()
		if decode(w, r, &settings) {
			h.estate.Set(settings)
			answer(w, settings)
		}
	})
	mux.HandleFunc("POST /thin/faults", func(w http.ResponseWriter, r *http.Request) {
		var fault Fault
		if decode(w, r, &fault) {
			done(w, http.StatusNoContent, h.addFault(fault))
		}
	})
	mux.HandleFunc("DELETE /thin/faults", func(w http.ResponseWriter, _ *http.Request) {
		h.clearFaults()
		done(w, http.StatusNoContent, nil)
	})
	mux.HandleFunc("GET /thin/counters", func(w http.ResponseWriter, _ *http.Request) { answer(w, h.estate.Counted(false)) })
	mux.HandleFunc("POST /thin/counters/reset", func(w http.ResponseWriter, _ *http.Request) { answer(w, h.estate.Counted(true)) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { done(w, http.StatusNoContent, nil) })
	return mux
}

func uuidOf(r *http.Request) string { return strings.ToLower(r.PathValue("uuid")) }

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		done(w, 0, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err))
		return false
	}
	return true
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // an error means that the reader left
}

func done(w http.ResponseWriter, code int, err error) {
	switch {
	case err == nil:
		w.WriteHeader(code)
		return
	case errors.Is(err, ErrUnknown):
		code = http.StatusNotFound
	case errors.Is(err, ErrOff):
		code = http.StatusConflict
	default:
		code = http.StatusBadRequest
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
