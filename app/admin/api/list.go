package api

// A List is one page of a list, the newest first.
type List[T any] struct {
	Items []T `json:"items" nullable:"false"`
	// NextCursor asks for the page after this one; empty at the end.
	NextCursor string `json:"next_cursor,omitempty" doc:"the cursor of the next page; missing at the end"`
}

// A PageQuery asks for one page.
type PageQuery struct {
	// Limit is how many items at most; zero: [DefaultLimit].
	Limit int `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"how many items at most"`
	// Cursor is the NextCursor of the page before; empty: start at the newest.
	Cursor string `query:"cursor" doc:"the next_cursor of the page before"`
}
