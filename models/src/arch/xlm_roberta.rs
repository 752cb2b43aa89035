//! XLM-RoBERTa (Conneau et al., arXiv:1911.02116), of which multilingual-e5, bge-m3 and bge-reranker-v2-m3 are made: the
//! layers of BERT with positions that begin behind the padding's.

use super::bert::Family;
use crate::weights::ModelFiles;
use crate::{Embedder, ModelError, Precision, Reranker};

const FAMILY: Family = Family {
    model_type: "xlm-roberta",
    prefix: "roberta.",
    first_position: |config| config.padding().saturating_add(1),
    head: ["classifier.dense", "classifier.out_proj"],
};

/// Opens an XLM-RoBERTa embedder.
///
/// # Errors
/// [`ModelError::Invalid`] naming the file and what is wrong with it.
pub fn open_embedder(files: &ModelFiles, precision: Precision) -> Result<Box<dyn Embedder>, ModelError> {
    FAMILY.open_embedder(files, precision)
}

/// Opens an XLM-RoBERTa reranker.
///
/// # Errors
/// [`ModelError::Invalid`] naming the file and what is wrong with it.
pub fn open_reranker(files: &ModelFiles, precision: Precision) -> Result<Box<dyn Reranker>, ModelError> {
    FAMILY.open_reranker(files, precision)
}
