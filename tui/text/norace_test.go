//go:build !race

package text_test

const slowdown = 1
