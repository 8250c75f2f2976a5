package guest

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"log"
	"strings"
	"time"
)

const (
	requestKey = "guestinfo.moorage.request"
	replyKey   = "guestinfo.moorage.reply"
)

// answer is the node helper's part: a signed request in, a reply out; "" when it is refused.
func (d *Disk) answer(raw string) string {
	if d.data == nil || d.data.helper["key"] == "" {
		return ""
	}
	var request struct {
		Args    any         `json:"args"`
		Counter json.Number `json:"counter"`
		Machine string      `json:"machine"`
		Verb    string      `json:"verb"`
		HMAC    string      `json:"hmac"`
	}
	decoder := json.NewDecoder(strings.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&request); err != nil {
		log.Printf("%s: request refused: not a signed request", d.Hostname)
		return ""
	}
	counter, err := request.Counter.Int64()
	key, keyErr := hex.DecodeString(d.data.helper["key"])
	signed, jsonErr := canonical(map[string]any{
		"args": request.Args, "counter": request.Counter, "machine": request.Machine, "verb": request.Verb,
	})
	if err != nil || keyErr != nil || jsonErr != nil {
		return ""
	}
	sum := hmac.New(sha256.New, key)
	sum.Write(signed)
	if !hmac.Equal([]byte(hex.EncodeToString(sum.Sum(nil))), []byte(request.HMAC)) {
		log.Printf("%s: request refused: the signature is wrong", d.Hostname)
		return ""
	}
	if request.Machine != d.data.helper["machine"] || counter <= d.counter {
		log.Printf("%s: request refused: for another machine, or its counter was used before", d.Hostname)
		return ""
	}
	d.counter = counter
	reply := map[string]any{
		"counter": counter, "machine": request.Machine, "verb": request.Verb, "ok": true, "message": "",
		"at": time.Now().UTC().Format(time.RFC3339), "data": "",
	}
	if request.Verb == "collect-logs" {
		reply["data"] = packed("==> progress <==\n" + strings.Join(d.log, "\n") + "\n==> kubeadm <==\n" + d.kubeadmLog)
	} else {
		reply["ok"], reply["message"] = false, "unknown verb; this helper knows collect-logs"
	}
	text, err := json.Marshal(reply)
	if err != nil {
		return ""
	}
	return string(text)
}

// canonical is JSON as Python's json.dumps(sort_keys=True, separators=(",", ":")) makes it, for plain letters.
func canonical(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSpace(out.Bytes()), err
}

func packed(text string) string {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, _ = writer.Write([]byte(text)) // into memory
	_ = writer.Close()
	return base64.StdEncoding.EncodeToString(out.Bytes())
}
