// Command load asks for tokens over kept connections for some seconds and prints how many it got.
//
// Environment: URL, BODY, AUTHORIZATION, CERT, KEY, CA (files, PEM; none for plain HTTP), CONNECTIONS, SECONDS.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	connections, _ := strconv.Atoi(os.Getenv("CONNECTIONS"))
	seconds, _ := strconv.ParseFloat(os.Getenv("SECONDS"), 64)
	transport := &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}
	if os.Getenv("CA") != "" {
		authority, err := os.ReadFile(os.Getenv("CA"))
		if err != nil {
			log.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authority)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
		if os.Getenv("CERT") != "" {
			certificate, err := tls.LoadX509KeyPair(os.Getenv("CERT"), os.Getenv("KEY"))
			if err != nil {
				log.Fatal(err)
			}
			transport.TLSClientConfig.Certificates = []tls.Certificate{certificate}
		}
	}
	client := &http.Client{Transport: transport}
	var good, bad atomic.Int64
	var waiting sync.WaitGroup
	end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	for range connections {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			for time.Now().Before(end) {
				request, _ := http.NewRequest("POST", os.Getenv("URL"), strings.NewReader(os.Getenv("BODY")))
				request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				if value := os.Getenv("AUTHORIZATION"); value != "" {
					request.Header.Set("Authorization", value)
				}
				answer, err := client.Do(request)
				if err != nil {
					bad.Add(1)
					continue
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				if answer.StatusCode == 200 {
					good.Add(1)
				} else {
					bad.Add(1)
				}
			}
		}()
	}
	waiting.Wait()
	fmt.Println(float64(good.Load())/seconds, bad.Load())
}
