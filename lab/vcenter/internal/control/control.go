// Package control serves the Unix socket on which the hypervisor reports and tests interfere.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"lab-vcenter/internal/vcenter"
)

// Serve answers on the socket until the listener is closed.
func Serve(socket string, server *vcenter.Server) (*http.Server, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, err
	}
	out := &http.Server{Handler: Handler(server), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := out.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("control socket: %v", err)
		}
	}()
	return out, nil
}

// Handler is the control port: lab/README.md is its reference.
func Handler(s *vcenter.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /guest/{uuid}/guestinfo", func(w http.ResponseWriter, r *http.Request) {
		var values map[string]string
		if decode(w, r, &values) {
			done(w, s.SetGuestinfo(r.PathValue("uuid"), values))
		}
	})
	mux.HandleFunc("PUT /guest/{uuid}/state", func(w http.ResponseWriter, r *http.Request) {
		var state vcenter.GuestState
		if decode(w, r, &state) {
			done(w, s.SetGuestState(r.PathValue("uuid"), state))
		}
	})
	mux.HandleFunc("PUT /guest/{uuid}/power", func(w http.ResponseWriter, r *http.Request) {
		var power struct {
			State string `json:"state"`
		}
		if decode(w, r, &power) {
			done(w, s.GuestPower(r.PathValue("uuid"), power.State))
		}
	})
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Counted()) })
	mux.HandleFunc("POST /counters/reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Counters.Reset()
		done(w, nil)
	})
	mux.HandleFunc("GET /inventory", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Inventory()) })
	mux.HandleFunc("GET /ledger", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Ledger()) })
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Events()) })
	mux.HandleFunc("POST /restart", func(w http.ResponseWriter, r *http.Request) {
		pause, err := seconds(r, 20)
		if err == nil {
			err = s.Restart(pause)
		}
		done(w, err)
	})
	mux.HandleFunc("POST /sessions/expire", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]int{"expired": s.ExpireSessions()})
	})
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var rule vcenter.Rule
		if decode(w, r, &rule) {
			done(w, s.Faults.Add(rule))
		}
	})
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		rules, hits := s.Faults.Listed()
		answer(w, map[string]any{"rules": rules, "hits": hits})
	})
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		s.Faults.Clear()
		done(w, nil)
	})
	administration(mux, s)
	mux.HandleFunc("GET /permissions", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Permissions()) })
	mux.HandleFunc("POST /permissions", func(w http.ResponseWriter, r *http.Request) {
		var given vcenter.Permission
		if decode(w, r, &given) {
			done(w, s.Grant(given))
		}
	})
	mux.HandleFunc("DELETE /permissions", func(w http.ResponseWriter, r *http.Request) {
		var given vcenter.Permission
		if decode(w, r, &given) {
			done(w, s.Withdraw(given))
		}
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if err := s.Healthy(r.Context()); err != nil {
			refuse(w, http.StatusServiceUnavailable, err)
			return
		}
		answer(w, map[string]string{"status": "ok"})
	})
	return mux
}

func seconds(r *http.Request, otherwise float64) (time.Duration, error) {
	n := otherwise
	if text := r.URL.Query().Get("seconds"); text != "" {
		var err error
		if n, err = strconv.ParseFloat(text, 64); err != nil || n < 0 {
			return 0, fmt.Errorf("seconds=%s: a number from 0 on is wanted", text)
		}
	}
	return time.Duration(n * float64(time.Second)), nil
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err))
		return false
	}
	return true
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // an error means that the reader left
}

func done(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, vcenter.ErrNoMachine):
		refuse(w, http.StatusNotFound, err)
	default:
		refuse(w, http.StatusBadRequest, err)
	}
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
