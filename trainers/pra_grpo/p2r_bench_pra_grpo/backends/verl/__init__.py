"""verl 0.9 on Ray, FSDP and vLLM, through its own extension points: no verl code is copied or patched.

| what | where verl reads it |
|---|---|
| `dataset:StageDataset` | `data.custom_cls` |
| `agent_loop:StageAgentLoop` | `actor_rollout_ref.rollout.agent.agent_loop_config_path` |
| `reward:StageRewardManager` | `reward.reward_manager`, source "importlib" |
| `sampler:GroupSampler` | `trainer.v1.sampler.custom_sampler` |

All of them find the stage in the file that `+data.p2r_stage` names.
"""
