// Command echo is the lab's test server: it answers every request with who it is and what it saw.
//
// Behind a Service, the answers of several requests show which pods were reached.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net/http"
	"os"
	"time"
)

// answer is the JSON body of every response but /healthz.
type answer struct {
	Hostname string `json:"hostname"`
	Node     string `json:"node,omitempty"`
	Method   string `json:"method"`
	Path     string `json:"path"`
	Client   string `json:"client"`
}

func handler(hostname, node string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		err := json.NewEncoder(w).Encode(answer{
			Hostname: hostname, Node: node,
			Method: r.Method, Path: r.URL.Path, Client: r.RemoteAddr,
		})
		if err != nil {
			log.Printf("answering %s: %v", r.RemoteAddr, err)
		}
	})
	return mux
}

func main() {
	listen := flag.String("listen", ":8080", "address to serve on")
	flag.Parse()
	hostname, err := os.Hostname()
	if err != nil {
		log.Fatalf("reading the host name: %v", err)
	}
	server := &http.Server{
		Addr:              *listen,
		Handler:           handler(hostname, os.Getenv("NODE_NAME")),
		ReadHeaderTimeout: 5 * time.Second,
	}
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatalf("serving on %s: %v", *listen, err)
	}
}
