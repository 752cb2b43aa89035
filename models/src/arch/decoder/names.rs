//! What files call the matrices of a decoder.

/// Names without `.weight`; those of layers stand behind [`Names::layers`] and the layer's number.
pub struct Names {
    pub embeddings: &'static str,
    pub norm: &'static str,
    pub output: &'static str,
    pub layers: &'static str,
    pub attention_norm: &'static str,
    pub queries: &'static str,
    pub keys: &'static str,
    pub values: &'static str,
    /// The three in one.
    pub queries_keys_values: &'static str,
    pub query_norm: &'static str,
    pub key_norm: &'static str,
    pub attention_output: &'static str,
    pub attention_post_norm: &'static str,
    pub feed_norm: &'static str,
    pub gate: &'static str,
    pub up: &'static str,
    /// The two in one.
    pub gate_up: &'static str,
    pub down: &'static str,
    pub feed_post_norm: &'static str,
}

/// As llama.cpp's converter names them.
pub const GGUF: Names = Names {
    embeddings: "token_embd",
    norm: "output_norm",
    output: "output",
    layers: "blk.",
    attention_norm: "attn_norm",
    queries: "attn_q",
    keys: "attn_k",
    values: "attn_v",
    queries_keys_values: "attn_qkv",
    query_norm: "attn_q_norm",
    key_norm: "attn_k_norm",
    attention_output: "attn_output",
    attention_post_norm: "post_attention_norm",
    feed_norm: "ffn_norm",
    gate: "ffn_gate",
    up: "ffn_up",
    gate_up: "ffn_up",
    down: "ffn_down",
    feed_post_norm: "post_ffw_norm",
};

/// As transformers names them, behind a prefix that differs.
pub const HUB: Names = Names {
    embeddings: "embed_tokens",
    norm: "norm",
    output: "lm_head",
    layers: "layers.",
    attention_norm: "input_layernorm",
    queries: "self_attn.q_proj",
    keys: "self_attn.k_proj",
    values: "self_attn.v_proj",
    queries_keys_values: "self_attn.qkv_proj",
    query_norm: "self_attn.q_norm",
    key_norm: "self_attn.k_norm",
    attention_output: "self_attn.o_proj",
    attention_post_norm: "post_attention_layernorm",
    feed_norm: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    gate_up: "mlp.gate_up_proj",
    down: "mlp.down_proj",
    feed_post_norm: "post_feedforward_layernorm",
};

/// The same where results are normed too: what comes after attention has another meaning there.
pub const HUB_SANDWICH: Names = Names { feed_norm: "pre_feedforward_layernorm", ..HUB };
