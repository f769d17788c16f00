"""Everything about a model and about torch that must be the same before and after a call."""

import hashlib

import torch


def fingerprint(model):
    """Bits of every parameter and buffer, hooks, forward methods, flags, and torch's global switches."""
    digest = hashlib.sha256()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        flat = (
            tensor.detach().cpu().contiguous().view(torch.uint8)
            if tensor.ndim
            else tensor.detach().cpu()[None].view(torch.uint8)
        )
        digest.update(name.encode() + flat.numpy().tobytes())
    modules = {
        name: (
            module.training,
            {key: id(value) for key, value in vars(module).items() if not key.startswith("_")},
            [len(getattr(module, hooks)) for hooks in vars(module) if hooks.endswith("_hooks")],
            list(vars(module)),
        )
        for name, module in model.named_modules()
    }
    flags = {name: (p.requires_grad, p.grad is None, p._version, p.data_ptr()) for name, p in model.named_parameters()}
    return digest.hexdigest(), modules, flags, torch_state()


def torch_state():
    """Grad mode, dtype, threads, random state, deterministic switches, active function modes."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.random.get_rng_state().numpy().tobytes(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
        torch._C._len_torch_function_stack(),
        torch.is_autocast_enabled(),
    )
