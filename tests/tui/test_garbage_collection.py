"""What is frozen is collected once it is unused, at the next freeze."""

import gc
import subprocess
import sys

CODE = """
import gc, weakref
from tui.garbage_collection import freeze_long_lived

class Ring:
    def __init__(self):
        self.own = self

ring = Ring()
alive = weakref.ref(ring)
freeze_long_lived()
frozen = gc.get_freeze_count()
del ring
gc.collect()
freeze_long_lived()
print(frozen > 1000, alive() is None, gc.get_threshold()[0] > 700)
"""


def test_objects_are_frozen_and_what_died_is_collected_at_the_next_freeze() -> None:
    reported = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.split()
    assert reported == ["True", "True", "True"], f"frozen, collected later, searched less often: {reported}"
    assert gc.get_freeze_count() == 0, "tests of the screen froze objects of the whole process"
