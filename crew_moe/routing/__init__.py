"""From a request to a decision: features, hard constraints, cost, points, choice. Pure values in, values out."""

from crew_moe.routing.board import Board, board_of
from crew_moe.routing.engine import decide

__all__ = ["Board", "board_of", "decide"]
