// Command clientcredentials gets a token with golang.org/x/oauth2/clientcredentials and prints it.
//
// Environment: TOKEN_ENDPOINT, CLIENT_ID, CLIENT_SECRET, SCOPE, AUTH_STYLE (auto, header, params).
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/url"
	"os"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

var styles = map[string]oauth2.AuthStyle{
	"auto":   oauth2.AuthStyleAutoDetect,
	"header": oauth2.AuthStyleInHeader,
	"params": oauth2.AuthStyleInParams,
}

func main() {
	config := clientcredentials.Config{
		ClientID:       os.Getenv("CLIENT_ID"),
		ClientSecret:   os.Getenv("CLIENT_SECRET"),
		TokenURL:       os.Getenv("TOKEN_ENDPOINT"),
		Scopes:         strings.Fields(os.Getenv("SCOPE")),
		EndpointParams: url.Values{"audience": {"my-api"}},
		AuthStyle:      styles[os.Getenv("AUTH_STYLE")],
	}
	token, err := config.Token(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	err = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"access_token": token.AccessToken,
		"token_type":   token.TokenType,
		"has_expiry":   !token.Expiry.IsZero(),
		"scope":        token.Extra("scope"),
	})
	if err != nil {
		log.Fatal(err)
	}
}
