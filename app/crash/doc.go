// Package crash holds no code, only the proof of the promise that matters most:
// what was acknowledged arrives, whenever the appliance is killed, and whatever else
// breaks: disks, files and clocks. docs/faults.md has the table of those.
//
//	go test ./app/crash                                                       20 kills
//	go test ./app/crash -run TestNothingAcknowledgedIsLost -rounds 200 -v     200 kills
//	go test ./app/crash -run TestNothingAcknowledgedIsLost -seed 17 -v        the same moments again
//	go test ./app/crash -run TestNothingGrows -soak 3m -v                     even load
//
// The tests run the built binary as a process of its own; PINTLE_BIN names one
// that is built already. The senders are a process of their own too, and the
// receivers live in the test, so both outlive every appliance.
//
// Three of the receivers have promises of their own to be kept: that of one key
// events come one after the other, that all attempts carry what the transform made
// first, and that exactly what the filter wants comes.
//
// A kill by SIGKILL shows that nothing depends on an orderly end: no promise is
// made before its commit, and no commit is half done. It does not show what a
// power cut does, since the kernel keeps what was written and not yet synced. Two
// other tests come near to that: they start on what had been synced when writes
// began to fail, and on a device that is mounted anew.
package crash
