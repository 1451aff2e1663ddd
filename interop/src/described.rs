//! A described service, for the checks in `tests/interop/openapi.rs` and `nats.rs`.
//!
//! `serve URL` serves it; `openapi` prints its OpenAPI document.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rr_core::schema::JsonSchema;
use rr_core::{AppError, Context, Error, Router, async_trait, openapi, service, shutdown_signal};
use serde::{Deserialize, Serialize};

/// Book of the catalogue.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "rr_core::schema::schemars")]
struct Book {
    title: String,
    authors: Vec<String>,
    /// Price in cents; free without one.
    #[serde(default)]
    cents: Option<u32>,
    /// Left out of a request, the book is not a series.
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "rr_core::schema::schemars")]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Volume {
    Printed { pages: u16 },
    Spoken { minutes: u16 },
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "rr_core::schema::schemars")]
#[serde(rename_all = "snake_case")]
enum CatalogError {
    NoSuchBook { id: u64 },
    Untitled,
}

impl AppError for CatalogError {
    const TYPE: &'static str = "catalog.CatalogError";
}

impl From<Error> for CatalogError {
    fn from(_: Error) -> Self {
        Self::Untitled
    }
}

/// Catalogue of books.
///
/// The catalogue is empty when the server starts.
#[service("catalog.v1")]
trait Catalog {
    /// Adds a book and returns its number.
    #[rr(keyed, timeout = "2s")]
    async fn add(&self, ctx: &Context, book: Book) -> Result<u64, CatalogError>;

    /// Returns a book.
    #[rr(safe, alias = "get")]
    async fn find(&self, ctx: &Context, id: u64) -> Result<Book, CatalogError>;

    /// Returns the books whose titles contain a text.
    #[rr(safe)]
    async fn search(
        &self,
        ctx: &Context,
        text: String,
        at_most: Option<usize>,
    ) -> Result<Vec<Book>, Error>;

    /// Removes all books.
    #[rr(idempotent)]
    async fn clear(&self, ctx: &Context) -> Result<(), Error>;
}

#[derive(Default)]
struct Shelf(Mutex<BTreeMap<u64, Book>>);

impl Shelf {
    fn books(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Book>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Catalog for Shelf {
    async fn add(&self, _: &Context, book: Book) -> Result<u64, CatalogError> {
        if book.title.is_empty() {
            return Err(CatalogError::Untitled);
        }
        let mut books = self.books();
        let id = books.len() as u64 + 1;
        books.insert(id, book);
        Ok(id)
    }

    async fn find(&self, _: &Context, id: u64) -> Result<Book, CatalogError> {
        self.books().get(&id).cloned().ok_or(CatalogError::NoSuchBook { id })
    }

    async fn search(
        &self,
        _: &Context,
        text: String,
        at_most: Option<usize>,
    ) -> Result<Vec<Book>, Error> {
        let books = self.books();
        let found = books.values().filter(|book| book.title.contains(&text));
        Ok(found.take(at_most.unwrap_or(usize::MAX)).cloned().collect())
    }

    async fn clear(&self, _: &Context) -> Result<(), Error> {
        self.books().clear();
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match &words[..] {
        ["openapi"] => print(),
        ["serve", url] => serve(url).await,
        _ => Err("usage: described openapi | serve URL".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            eprintln!("{complaint}");
            ExitCode::FAILURE
        }
    }
}

fn router() -> Router {
    CatalogServer::new(Shelf::default()).into()
}

fn print() -> Result<(), String> {
    let document = openapi(&router(), "Catalogue", "1.0.0").map_err(|error| error.to_string())?;
    println!("{document:#}");
    Ok(())
}

/// Serves until it is told to stop.
async fn serve(url: &str) -> Result<(), String> {
    let server = rr_core::serve(url, router()).await.map_err(|error| error.to_string())?;
    println!("serving {}", server.url());
    shutdown_signal().await;
    server.shutdown(Duration::from_secs(2)).await;
    Ok(())
}
