//go:build race

package text_test

// slowdown is how much slower the race detector makes a program.
const slowdown = 10
