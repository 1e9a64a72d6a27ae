//! The attribute that makes a Cap'n Web interface of a trait. Use it as `capnweb::interface`, where it is documented: what it
//! writes refers to that crate.

mod client;
mod interface;
mod server;

use proc_macro::TokenStream;
use quote::quote;
use syn::parse_macro_input;

use interface::{Interface, Options};

#[allow(missing_docs, reason = "documented where it is re-exported")]
#[proc_macro_attribute]
pub fn interface(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as Options);
    let item = parse_macro_input!(item as syn::ItemTrait);
    let interface = match Interface::read(options, item) {
        Ok(interface) => interface,
        Err(error) => return error.into_compile_error().into(),
    };
    let (declared, glue, stub) = (
        interface.declaration(),
        server::glue(&interface),
        client::stub(&interface),
    );
    quote! { #declared #stub #glue }.into()
}
