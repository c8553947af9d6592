"""What DASR does when it is told a wrong blur."""
