//! Qingniao.
