"""The sample text of Edge, used by default to compare, time and export models."""

SAMPLE_TEXT = """\
The clock in the harbour office was slow again. Every morning Ines wound it, set it by the church bell, and wrote the \
difference in a small green book: four minutes on Monday, five on Tuesday, nine on the day of the storm. "It is not \
the clock," said the old pilot, who had come in to dry his coat. "It is the hill. The bell is late, and always was."

She laughed, but the next day she carried the clock up to the tower. There were two hundred and twelve steps, and she \
counted them aloud. At the top the wind came in from three sides. Below her lay the whole town: the red roofs, the \
ropewalk, the river with its one stone bridge, and beyond it the sea, as flat and grey as a slate. She waited until \
the great hammer rose. When it fell she looked at the hands, and they stood at noon exactly.

So the old man had been right. A sound needs time to come down a hill, though nobody would call it four minutes. \
What, then, had she been measuring? She asked the baker, who said that he rose when the bread told him to. She asked \
the schoolmaster, who drew a circle on the board, and a line through it, and said that the answer was somewhere on \
the line. She asked the ferryman, and he only pointed at the water. "It goes out," he said, "and it comes back. In \
between, I have my dinner."

In the end she did what she should have done at first. She opened the clock. Behind the brass plate, between the \
second wheel and the third, sat a spider no larger than a grain of rice; and from the spider a single thread ran to \
the pendulum, so fine that it could be seen only when the sun was on it. Each swing drew the thread tight, and each \
time the clock lost the smallest part of a second. Ines looked at it for a long while. Then she closed the plate, \
took the green book, and wrote: nine minutes, and a spider.
"""
"""Written for Edge, so it is in no model's training data."""
