"""What calc.py has to do: `python3 -m unittest check_calc`."""

import unittest

import calc


class Calculator(unittest.TestCase):
    def test_addition_adds(self):
        assert calc.add(2, 3) == 5

    def test_the_mean_of_two(self):
        assert calc.mean([1, 3]) == 2


if __name__ == "__main__":
    unittest.main()
