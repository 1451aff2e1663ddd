// A server of the standard library over TLS; /ping answers which version came. Prints where it serves. RR_FOLDER has
// its certificate.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

func main() {
	http.HandleFunc("/ping", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "pong over %s\n", r.Proto)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("serving https://%s\n", listener.Addr())
	folder := os.Getenv("RR_FOLDER")
	log.Fatal(http.ServeTLS(listener, nil, filepath.Join(folder, "server.pem"), filepath.Join(folder, "server.key")))
}
