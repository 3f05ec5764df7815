#!/usr/bin/env bash
# Takes the README's pictures: runs the demo in a terminal of 100 by 30, presses
# keys as a person would, and draws what is on the screen. It needs tmux, and a
# binary to be given as its argument.
set -euo pipefail
binary=$(realpath "$1")
folder=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
tmux() { command tmux -S "$work/tmux" -f /dev/null "$@"; }
trap 'tmux kill-server 2>/dev/null || true; rm -rf "$work"' EXIT

go build -o "$work/pictures" "$folder"
tmux new-session -d -s demo -x 100 -y 30 "TERM=screen-256color LC_ALL=C.UTF-8 $binary demo"

# until waits for a text to be on the screen.
until_shown() {
	for _ in $(seq 300); do
		if tmux capture-pane -p -t demo | grep -q "$1"; then return; fi
		sleep 0.1
	done
	echo "the screen never showed: $1" >&2
	tmux capture-pane -p -t demo >&2
	exit 1
}
picture() {
	tmux capture-pane -e -p -t demo | "$work/pictures" -title "$2" > "$folder/../$1.svg"
}

until_shown 'LAST FAILURES'
sleep "${WARM:-70}" # so that the charts have something to show
picture overview "The overview: rates and latency of the last hour, what needs attention, the worst subscribers, the last failures"
tmux send-keys -t demo 3
until_shown 'SUBSCRIBER'
tmux send-keys -t demo / 'status:retrying' Enter
until_shown 'retrying'
tmux send-keys -t demo Enter
until_shown 'Request'
picture delivery "A delivery: every attempt with its timing, what was sent, and when the next try is due"
tmux send-keys -t demo Escape
until_shown 'FOLLOW'
tmux send-keys -t demo 5
until_shown 'CAUSE'
picture dead-letters "Dead letters, grouped by subscriber and cause"
tmux send-keys -t demo 7
until_shown 'invalid_signature'
tmux send-keys -t demo Enter
until_shown 'Diagnosis'
picture rejection "A refused request: which checks it passed, which one refused it, and why"
tmux send-keys -t demo C-c
