package vcenter

import (
	"net/http"
	"strings"
	"sync"

	"github.com/vmware/govmomi/vapi/library"
)

// uploads knows how much of each file of the content library was received: the simulator does not say.
type uploads struct {
	mu       sync.Mutex
	received map[string]int64 // by the path that a file is sent to
}

// took notes a file that was received.
func (u *uploads) took(r *http.Request, bytes int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.received == nil {
		u.received = map[string]int64{}
	}
	u.received[r.URL.Path] = int64(bytes)
}

// whole is true of a file that was received, in the size that was announced.
func (u *uploads) whole(file library.UpdateFile) bool {
	if file.UploadEndpoint == nil {
		return true
	}
	at := strings.Index(file.UploadEndpoint.URI, uploadPath)
	if at < 0 {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	got, known := u.received[file.UploadEndpoint.URI[at:]]
	return known && (file.Size == 0 || got == file.Size)
}
