"""nbgrader's settings, for the commands here and for plain `nbgrader` in the course directory."""

c = get_config()  # noqa: F821  (nbgrader defines it)

c.CourseDirectory.course_id = "language-models-by-hand"
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__"]
c.Execute.timeout = 180  # seconds for one cell: the measuring exercises train a model
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError()"}
c.ClearSolutions.text_stub = "YOUR ANSWER HERE"
