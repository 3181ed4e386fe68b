"""What every test runs under.

hypothesis' profiles, chosen by --hypothesis-profile:
ci:   the same examples on every run and machine (make test);
check: the first of those, for a quick answer (make check, make matrix);
dev:  other examples on every run (plain pytest);
fuzz: many of them (make fuzz).
None has a deadline: a machine under load is no failing test.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.register_profile("check", settings.get_profile("ci"), max_examples=20)
settings.register_profile("fuzz", settings.get_profile("dev"), max_examples=5000)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
