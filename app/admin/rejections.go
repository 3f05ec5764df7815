package admin

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/query"
	"github.com/pintle/pintle/app/webhook"
)

// aboutRejections is said of every operation on rejections.
const aboutRejections = "Rejections are kept within bounds in number, size and rate: the oldest go, and of many alike in a short time only some are kept."

func (s *server) registerRejections() {
	tags := []string{"rejections"}
	const path = api.Prefix + "/rejections"
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "list-rejections", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "List inbound requests that were refused", Description: aboutRejections + " " + aboutPages,
	}, s.listRejections)
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "show-rejection", Method: http.MethodGet, Path: path + "/{id}", Tags: tags,
		Summary: "Show why an inbound request was refused", Description: aboutRejections,
	}, s.showRejection)
}

// rejectionQuery selects a page of rejections.
type rejectionQuery struct {
	api.RejectionFilter
	api.PageQuery
}

type rejectionInput struct {
	ID webhook.RejectionID `path:"id" doc:"rej_…"`
}

func (s *server) listRejections(ctx context.Context, in *rejectionQuery) (*answer[api.List[api.Rejection]], error) {
	filter, faults := query.Rejections(in.RejectionFilter, time.Now())
	if len(faults) > 0 {
		return nil, invalidRequest(faults)
	}
	return list(s, in.PageQuery, webhook.RejectionPrefix,
		func(page webhook.Page) (webhook.List[webhook.Rejection], error) {
			return s.o.Store.Rejections(ctx, filter, page)
		},
		wireRejection)
}

func (s *server) showRejection(ctx context.Context, in *rejectionInput) (*answer[api.RejectionDetail], error) {
	found, err := s.o.Store.Rejections(ctx, webhook.RejectionFilter{ID: in.ID}, webhook.Page{Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(found.Items) == 0 {
		return nil, notFoundProblem("No rejection with this id is kept. " + aboutRejections)
	}
	r := &found.Items[0]
	return &answer[api.RejectionDetail]{api.RejectionDetail{
		Rejection: wireRejection(r), Passed: passed(r.Check), Rule: valid(r.Rule), Expected: valid(r.Expected), Diagnosis: valid(r.Diagnosis),
		Method: valid(r.Method), Path: valid(r.Path), Header: append([]api.Header{}, wireHeader(webhook.HeaderBlock(r.Header))...),
		BodySize: r.BodySize, BodySHA256: r.BodyDigest,
	}}, nil
}

// passed are the checks that stand before the one that refused.
func passed(refused webhook.Check) []webhook.Check {
	checks := webhook.Checks()
	return checks[:max(slices.Index(checks, refused), 0)]
}

func wireRejection(r *webhook.Rejection) api.Rejection {
	return api.Rejection{
		ID: r.ID, At: api.Time{Time: r.At}, Source: r.Source, Status: r.Status, Code: r.Code, Message: valid(r.Message), Check: r.Check,
		ClientIP: wireAddress(r.Client), PeerIP: wireAddress(r.Peer), ASN: r.ASN, Organisation: valid(r.Organisation),
		SkewSeconds: r.Skew, EventType: valid(r.EventType), SenderKey: valid(r.SenderKey), Unkept: r.Unkept,
	}
}

// wireAddress writes an address; one that is not known is empty.
func wireAddress(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
