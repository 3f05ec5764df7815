package api

import "github.com/pintle/pintle/app/webhook"

// A Token lets its bearer use the API.
type Token struct {
	ID   webhook.TokenID `json:"id"`
	Name string          `json:"name"`
	Role webhook.Role    `json:"role" enum:"viewer,operator,admin"`
	// Token is what the bearer presents; only in the answer that made it.
	Token     string `json:"token,omitempty" doc:"what the bearer presents; only in the answer that made it"`
	CreatedAt Time   `json:"created_at" format:"date-time"`
	// RevokedAt is zero while the token is valid.
	RevokedAt Time `json:"revoked_at,omitzero" format:"date-time" doc:"missing while the token is valid"`
}

// A NewToken asks for a token.
type NewToken struct {
	Name string `json:"name" doc:"what it is for, for people"`
	// Role is what its bearer may do.
	Role webhook.Role `json:"role" enum:"viewer,operator,admin" doc:"viewer reads; operator also publishes, resends, replays, cancels, pauses and resumes; admin may do everything"`
}
