"""Two ways to compile a function: as an entry, which Python or C calls, and as a part of other compiled functions.

Numba compiles a callee as if Python called it, too: with wrappers, through all of LLVM's passes, to machine code. Its caller
links the callee's LLVM code and optimises all of it once more. Of some 400 functions of a server, Python calls 40. So a part
stays LLVM code, simplified and no more; an entry is optimised once, with all of its parts, and becomes machine code. This
takes half of the time. The cache keeps machine code alone of an entry: reading LLVM code takes longer than all else of its
loading, and nobody would link it.

**Order.** Numba hands ``forceinline`` from a caller on to the callee that is compiled meanwhile, and to no other. So machine
code depended on what had been compiled before. A part has the options that its decorator names, and no others: it is
the same whoever needs it first.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding
from numba.core import caching, compiler, cpu, dispatcher, types
from numba.core import codegen as numba_codegen
from numba.core.registry import CPUDispatcher

from splinter.native.registries import provide

_binding: Any = binding
_types: Any = types
_Context: Any = cpu.CPUContext
_Compiler: Any = compiler.Compiler
_CompileResult: Any = compiler.CompileResult
_Dispatcher: Any = dispatcher.Dispatcher
_CPUDispatcher: Any = CPUDispatcher
_FunctionCompiler: Any = vars(dispatcher)["_FunctionCompiler"]
_Library: Any = numba_codegen.JITCodeLibrary
_CacheImpl: Any = caching.CompileResultCacheImpl
_FunctionCache: Any = caching.FunctionCache
_NOT_INHERITED = {"forceinline": False, "error_model": "python", "fastmath": False}
_template_of = _Dispatcher.get_call_template
_overload_of = _Dispatcher.get_overload
_dynamic_address = _Context.add_dynamic_addr


def configure() -> None:
    """Have compiled functions call parts."""
    _Dispatcher.get_call_template = _call_template
    _Dispatcher.get_overload = _overload
    _Dispatcher.is_compiling = property(_is_compiling)
    _Context.add_dynamic_addr = _address
    _Library.serialize_using_object_code = _serialize
    _Library._unserialize = classmethod(_unserialize)


def part_of(function: Any) -> Any:
    """The dispatcher of what compiled functions call where their source names ``function``, itself a dispatcher."""
    if isinstance(function, _Part):
        return function
    if "_part" not in vars(function):
        function._part = _Part(function)
    return function._part


def _call_template(self: Any, args: Any, kws: Any) -> Any:
    """Numba's way to what a call gives; an argument's value does not matter, as LLVM sees it all the same."""
    plain = {name: _types.unliteral(kind) for name, kind in kws.items()}
    return _template_of(part_of(self), tuple(_types.unliteral(kind) for kind in args), plain)


def _overload(self: Any, signature: Any) -> Any:
    return _overload_of(part_of(self), signature)


def _is_compiling(self: Any) -> bool:
    """Whether the function is being compiled in either way; that is how Numba finds that one calls itself."""
    return bool(self._compiling_counter) or bool(part_of(self)._compiling_counter)


def _address(self: Any, builder: Any, address: int, info: str) -> Any:
    """The address of an object of this process, with which code cannot be saved.

    One function hands another to a third by it. The third has been compiled for that function, and looks at no address.
    """
    if info == CPUDispatcher.__name__:
        return self.get_constant_null(_types.voidptr)
    return _dynamic_address(self, builder, address, info)


def _serialize(self: Any) -> tuple[str, str, tuple[bytes, list[str]]]:
    """An entry's machine code, with the names of what it defines."""
    module = self._final_module
    defined = [each.name for each in (*module.functions, *module.global_variables) if not each.is_declaration]
    return self.name, "object", (self._get_compiled_object(), defined)


def _unserialize(cls: Any, codegen: Any, saved: tuple[str, str, tuple[bytes, list[str]]]) -> Any:
    """An entry's library. It has no LLVM code: Numba refuses to link it."""
    name, _, (code, defined) = saved
    provide(code)
    library = cls(codegen, name)
    library.enable_object_caching()
    library._set_compiled_object(code)
    library._finalize_final_module()
    codegen._engine._defined_symbols.update(defined)
    return library


class _PartLibrary(_Library):  # type: ignore[misc]
    """A part's LLVM code, with that of the parts that it calls."""

    def _optimize_functions(self, module: Any) -> None:
        """Simplify the part's own code: what is linked again and again is a fifth as long then."""
        super()._optimize_functions(module)
        passes, builder = _binding.create_new_function_pass_manager(), self._no_passes()
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
        for function in module.functions:
            if not function.is_declaration:
                passes.run(function, builder)

    def _optimize_final_module(self) -> None:
        """Drop what the part does not call."""
        passes = _binding.create_new_module_pass_manager()
        passes.add_global_dead_code_eliminate_pass()
        passes.run(self._final_module, self._no_passes())

    def _finalize_final_module(self) -> None:
        """Make no machine code."""
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def _no_passes(self) -> Any:
        return _binding.create_pass_builder(self._codegen._tm, _binding.create_pipeline_tuning_options(speed_level=0))


class _PartPipeline(_Compiler):  # type: ignore[misc]
    """Numba's pipeline, with a library of a part."""

    def compile_extra(self, function: Any) -> Any:
        self.state.library = _PartLibrary(self.state.targetctx.codegen(), function.__qualname__)
        return super().compile_extra(function)


class _PartCompiler(_FunctionCompiler):  # type: ignore[misc]
    """Numba's compiler without wrappers for Python and C, and without an address."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
        return flags


class _PartFiles(_CacheImpl):  # type: ignore[misc]
    """A part in the cache: beside the entry of its function."""

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return str(super().get_filename_base(f"{fullname}.part", abiflags))

    def reduce(self, result: Any) -> tuple[Any, ...]:
        library, description = result.library, result.fndesc
        description.typemap = description.calltypes = None  # as Numba does: they need not, and may not, be pickled
        code = library._get_module_for_linking().as_bitcode()
        return library.name, code, description, result.signature, result.reload_init

    def rebuild(self, context: Any, saved: tuple[Any, ...]) -> Any:
        name, code, description, signature, reload_init = saved
        for load in reload_init:
            load()
        library = _PartLibrary(context.codegen(), name)
        library._final_module = library._shared_module = _binding.parse_bitcode(code)
        library._finalize_final_module()
        unknown = dict.fromkeys(_CompileResult._fields)
        known = {"typing_context": context.typing_context, "target_context": context, "entry_point": object(),
                 "signature": signature, "objectmode": False, "lifted": (), "fndesc": description, "library": library,
                 "reload_init": reload_init, "referenced_envs": ()}  # fmt: skip
        return _CompileResult(**{**unknown, **known})


class _PartCache(_FunctionCache):  # type: ignore[misc]
    _impl_class = _PartFiles


class _Part(_CPUDispatcher):  # type: ignore[misc]
    """A function as others call it; Python cannot."""

    def __init__(self, function: Any) -> None:
        options = {**_NOT_INHERITED, **function.targetoptions}
        super().__init__(function.py_func, locals=function.locals, targetoptions=options)
        self._compiler = _PartCompiler(function.py_func, self.targetdescr, options, function.locals, _PartPipeline)
        if not isinstance(function._cache, caching.NullCache):
            self._cache = _PartCache(function.py_func)

    def add_overload(self, result: Any) -> None:
        """Have a signature's code found by those that call it; what Numba finds it by is else the address of a wrapper."""
        if result.entry_point is None:
            result = result._replace(entry_point=object())
            self.targetctx.insert_user_function(result.entry_point, result.fndesc, [result.library])
        self.overloads[tuple(result.signature.args)] = result
