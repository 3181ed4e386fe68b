// The real Karpenter's scheduler and consolidation, in one process, for comparing the model with them.
// Built with the modules of src/gpuslice/rehearsal/go (go build -modfile): one place has the versions.
module gpuslice.io/parity

go 1.26.6
