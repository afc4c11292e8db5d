// Command verify checks a token against a published key set twice, with golang-jwt and with go-jose, and prints what each read from it.
//
// Environment: JWKS_URI, ISSUER, AUDIENCE, TOKEN.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/go-jose/go-jose/v3"
	josejwt "github.com/go-jose/go-jose/v3/jwt"
	"github.com/golang-jwt/jwt/v5"
)

var algorithms = []string{"ES256", "ES384", "PS256", "RS256"}

func fetchKeys(uri string) (*jose.JSONWebKeySet, error) {
	response, err := http.Get(uri)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("key set: %s", response.Status)
	}
	keys := &jose.JSONWebKeySet{}
	return keys, json.NewDecoder(response.Body).Decode(keys)
}

func withGolangJWT(token string, keys *jose.JSONWebKeySet) (map[string]any, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, claims, func(parsed *jwt.Token) (any, error) {
		kid, _ := parsed.Header["kid"].(string)
		found := keys.Key(kid)
		if len(found) != 1 {
			return nil, errors.New("no key with the token's kid")
		}
		return found[0].Key, nil
	},
		jwt.WithValidMethods(algorithms),
		jwt.WithIssuer(os.Getenv("ISSUER")),
		jwt.WithAudience(os.Getenv("AUDIENCE")),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
	)
	return claims, err
}

func withGoJose(token string, keys *jose.JSONWebKeySet) (map[string]any, error) {
	parsed, err := josejwt.ParseSigned(token)
	if err != nil {
		return nil, err
	}
	var registered josejwt.Claims
	claims := map[string]any{}
	if err := parsed.Claims(keys, &registered, &claims); err != nil {
		return nil, err
	}
	return claims, registered.Validate(josejwt.Expected{
		Issuer:   os.Getenv("ISSUER"),
		Audience: josejwt.Audience{os.Getenv("AUDIENCE")},
		Time:     time.Now(),
	})
}

func main() {
	keys, err := fetchKeys(os.Getenv("JWKS_URI"))
	if err != nil {
		log.Fatal(err)
	}
	read := map[string]any{}
	for name, verify := range map[string]func(string, *jose.JSONWebKeySet) (map[string]any, error){
		"golang-jwt": withGolangJWT,
		"go-jose":    withGoJose,
	} {
		claims, err := verify(os.Getenv("TOKEN"), keys)
		if err != nil {
			log.Fatalf("%s: %v", name, err)
		}
		read[name] = claims
	}
	if err := json.NewEncoder(os.Stdout).Encode(read); err != nil {
		log.Fatal(err)
	}
}
