# Of a package whose extensions are compiled in parallel.
import glob
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class Parallel(build_ext):
    def initialize_options(self):
        super().initialize_options()
        self.parallel = 8


names = sorted(glob.glob("*.c"))
setup(
    name="parts",
    version="1.0",
    py_modules=[],
    cmdclass={"build_ext": Parallel},
    ext_modules=[Extension("parts_" + name[:-2], [name]) for name in names],
)
