// Verifies an application token with go-oidc, as an origin behind Access would.
// Standard input: {"team", "aud", "token"}. Standard output: one JSON document.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	oidc "github.com/coreos/go-oidc"
)

type input struct {
	Team, Aud, Token string
}

func verify(given input) (map[string]interface{}, error) {
	ctx := context.Background()
	keys := oidc.NewRemoteKeySet(ctx, given.Team+"/cdn-cgi/access/certs")
	verifier := oidc.NewVerifier(given.Team, keys, &oidc.Config{ClientID: given.Aud})
	token, err := verifier.Verify(ctx, given.Token)
	if err != nil {
		return nil, err
	}
	var claims map[string]interface{}
	err = token.Claims(&claims)
	return claims, err
}

func main() {
	var given input
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	answer := map[string]interface{}{}
	if payload, err := verify(given); err != nil {
		answer["error"] = err.Error()
	} else {
		answer["payload"] = payload
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		os.Exit(1)
	}
}
