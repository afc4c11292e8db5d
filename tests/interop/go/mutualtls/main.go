// Command mutualtls gets a token with golang.org/x/oauth2/clientcredentials over crypto/tls with a client certificate, and
// prints it.
//
// Environment: TOKEN_ENDPOINT, CLIENT_ID, SCOPE, CERT, KEY, CA (files, PEM).
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	certificate, err := tls.LoadX509KeyPair(os.Getenv("CERT"), os.Getenv("KEY"))
	if err != nil {
		log.Fatal(err)
	}
	authority, err := os.ReadFile(os.Getenv("CA"))
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{certificate},
		RootCAs:      pool,
	}}}
	config := clientcredentials.Config{
		ClientID:       os.Getenv("CLIENT_ID"),
		TokenURL:       os.Getenv("TOKEN_ENDPOINT"),
		Scopes:         strings.Fields(os.Getenv("SCOPE")),
		EndpointParams: url.Values{"audience": {"my-api"}},
		AuthStyle:      oauth2.AuthStyleInParams,
	}
	token, err := config.Token(context.WithValue(context.Background(), oauth2.HTTPClient, client))
	if err != nil {
		log.Fatal(err)
	}
	err = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"access_token": token.AccessToken,
		"token_type":   token.TokenType,
	})
	if err != nil {
		log.Fatal(err)
	}
}
