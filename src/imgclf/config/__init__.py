"""The command line: composed and checked before anything heavy is imported."""
