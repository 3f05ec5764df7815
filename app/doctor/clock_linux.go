package doctor

import "syscall"

// synchronised is what the kernel has been told about its clock; see
// adjtimex(2). Where it may not be asked, it is not known.
func synchronised() (yes, known bool) {
	const unsynchronised = 0x40 // STA_UNSYNC
	var state syscall.Timex
	if _, err := syscall.Adjtimex(&state); err != nil {
		return false, false
	}
	return state.Status&unsynchronised == 0, true
}
