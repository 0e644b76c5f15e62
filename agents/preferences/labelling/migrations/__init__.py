"""How the tables came to be: one file a change, in order. A change that was released is never edited."""
