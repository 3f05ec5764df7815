package api

import "github.com/pintle/pintle/app/webhook"

// An Error is the answer to every request that is refused.
type Error struct {
	// Code names the condition, for programs.
	Code string `json:"error" example:"not_found" doc:"what is wrong, for programs"`
	// Message is a sentence for people.
	Message string `json:"message" doc:"what is wrong, for people"`
	// RequestID is what the log calls the request.
	RequestID webhook.RejectionID `json:"request_id" doc:"what the log calls this request"`
	// Fields names every fault of the input by its field.
	Fields map[string]string `json:"fields,omitempty" doc:"every fault of the input, by field"`
}
