package cli

import "github.com/pintle/pintle/app/transform"

// isTransformWorker reports whether the program is to be a child of the appliance
// that runs expressions. People have no use for it, so that it is not among the
// commands; and it has to start fast, so that these are not even made.
func isTransformWorker(args []string) bool {
	return len(args) == 1 && args[0] == transform.WorkerCommand
}
