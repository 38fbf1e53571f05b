"""What is set aside from the garbage collector is not lost to it for good."""

import gc
import subprocess
import sys

CODE = """
import gc, weakref
from tui.garbage_collection import spare_frames

class Ring:
    def __init__(self):
        self.own = self

ring = Ring()
alive = weakref.ref(ring)
spare_frames()
aside = gc.get_freeze_count()
del ring
gc.collect()
spare_frames()
print(aside > 1000, alive() is None, gc.get_threshold()[0] > 700)
"""


def test_frames_are_spared_and_what_died_is_collected_the_next_time() -> None:
    reported = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.split()
    assert reported == ["True", "True", "True"], f"set aside, collected later, searched less often: {reported}"
    assert gc.get_freeze_count() == 0, "tests of the screen set objects of the whole process aside"
