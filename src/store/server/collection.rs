//! The collection on the server: made once, and checked to be of this product and of the same embedder.

use std::collections::HashMap;

use qdrant_client::QdrantError;
use qdrant_client::qdrant::payload_index_params::IndexParams;
use qdrant_client::qdrant::{
    CreateCollectionBuilder, CreateFieldIndexCollectionBuilder, Distance, FieldType, IntegerIndexParamsBuilder,
    KeywordIndexParamsBuilder, Modifier, SparseVectorParamsBuilder, SparseVectorsConfigBuilder, VectorParamsBuilder,
    VectorsConfigBuilder,
};
use serde_json::json;
use uuid::Uuid;

use super::{ServerStore, strong};
use crate::store::point::{DENSE, FieldIndex, INDEXED_FIELDS, SPARSE, check_embedder};
use crate::store::{EmbedderIdentity, StoreError};

/// Key in the collection's metadata.
const METADATA: &str = "intramuros";
/// The layout of points and payload; a reader refuses numbers it does not know.
const VERSION: u64 = 1;
/// gRPC status code ALREADY_EXISTS.
const ALREADY_EXISTS: i32 = 6;

impl ServerStore {
    /// Makes the collection where it is not there, and refuses one that is not this embedder's. Returns the id of the index.
    pub(super) fn prepare_collection(&self) -> Result<Uuid, StoreError> {
        let exists = self.call("look for the collection", self.client.collection_exists(&self.collection))?;
        if !exists {
            self.create_collection()?;
        }
        let (found, id) = self.identity()?;
        check_embedder(&found, &self.embedder)?;
        for (field, index) in INDEXED_FIELDS {
            let keyword = |graph| KeywordIndexParamsBuilder::default().enable_hnsw(graph).build().into();
            let (kind, parameters): (_, IndexParams) = match index {
                FieldIndex::SearchedKeyword => (FieldType::Keyword, keyword(true)),
                FieldIndex::Keyword => (FieldType::Keyword, keyword(false)),
                FieldIndex::Integer => {
                    let parameters = IntegerIndexParamsBuilder::new(true, true).enable_hnsw(false).build();
                    (FieldType::Integer, parameters.into())
                }
            };
            let request = CreateFieldIndexCollectionBuilder::new(&self.collection, field, kind)
                .field_index_params(parameters)
                .wait(true)
                .ordering(strong());
            self.call("index a payload field", self.client.create_field_index(request))?;
        }
        Ok(id)
    }

    fn create_collection(&self) -> Result<(), StoreError> {
        let mut vectors = VectorsConfigBuilder::default();
        let dimensions = self.embedder.dimensions as u64;
        vectors.add_named_vector_params(DENSE, VectorParamsBuilder::new(dimensions, Distance::Cosine));
        let mut sparse = SparseVectorsConfigBuilder::default();
        sparse.add_named_vector_params(SPARSE, SparseVectorParamsBuilder::default().modifier(Modifier::Idf));
        let identity = json!({
            "version": VERSION,
            "embedder": { "name": self.embedder.name, "dimensions": self.embedder.dimensions },
            "index_id": Uuid::new_v4(),
        });
        let metadata = HashMap::from([(METADATA.to_owned(), identity)]);
        let request = CreateCollectionBuilder::new(&self.collection)
            .vectors_config(vectors)
            .sparse_vectors_config(sparse)
            .metadata(metadata);
        match self.runtime.block_on(self.client.create_collection(request)) {
            // Somebody else made it in the meantime; whose it is is checked next.
            Err(QdrantError::ResponseError { status }) if status.code() as i32 == ALREADY_EXISTS => Ok(()),
            Err(error) => Err(self.failed("create the collection", &error)),
            Ok(_) => Ok(()),
        }
    }

    /// The identity in the collection's metadata: the embedder's and the index's own.
    fn identity(&self) -> Result<(EmbedderIdentity, Uuid), StoreError> {
        let info = self.call("read the collection", self.client.collection_info(&self.collection))?;
        let metadata = info.result.and_then(|info| info.config).map(|config| config.metadata).unwrap_or_default();
        let Some(identity) = metadata.get(METADATA) else {
            return Err(self.foreign(
                "carries no mark of this program: name another collection, or use a server of version 1.16 or later",
            ));
        };
        let identity = serde_json::to_value(identity).unwrap_or_default();
        if identity["version"].as_u64() != Some(VERSION) {
            return Err(self.foreign("has a layout that this version does not know"));
        }
        let embedder = serde_json::from_value(identity["embedder"].clone())
            .map_err(|_| self.foreign("does not say which embedder made it"))?;
        let id = serde_json::from_value(identity["index_id"].clone())
            .map_err(|_| self.foreign("has no id of its own: remove it and index again"))?;
        Ok((embedder, id))
    }

    fn foreign(&self, what: &str) -> StoreError {
        StoreError::Engine { action: "use the collection", reason: format!("`{}` {what}", self.collection) }
    }

    /// Takes the whole collection away.
    #[cfg(test)]
    pub(crate) fn delete_collection(&self) -> Result<(), StoreError> {
        self.call("delete the collection", self.client.delete_collection(&self.collection)).map(drop)
    }
}
