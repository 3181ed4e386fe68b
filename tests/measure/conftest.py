from tests.cli.conftest import gpuslice

__all__ = ["gpuslice"]
