"""Settings of these tests alone."""

import pytest

# Its failed checks tell as much as those in the tests.
pytest.register_assert_rewrite("bad_inputs.command_line")
