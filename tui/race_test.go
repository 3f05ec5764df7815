//go:build race

package tui

// slowdown is how much slower the race detector makes a program.
const slowdown = 10
