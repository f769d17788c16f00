"""One canvas for everything that moves: fed once with a result, it draws in the browser."""
