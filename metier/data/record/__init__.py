"""The record of the data: takes what preparation left in a run; gives findings and reviews; never removes a row."""
