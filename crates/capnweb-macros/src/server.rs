//! The glue that answers calls with a trait's methods.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use crate::interface::{Interface, Method};

pub(crate) fn glue(interface: &Interface) -> TokenStream {
    let (library, name, stub) = (&interface.library, interface.name(), interface.stub());
    let calls = interface.methods.iter().filter(|method| !method.is_property);
    let names = calls.clone().map(|method| {
        let (conditions, wire) = (&method.conditions, &method.wire);
        quote!(#(#conditions)* #wire)
    });
    let calls = calls.map(|method| arm(interface, method));
    let reads = interface
        .methods
        .iter()
        .filter(|method| method.is_property)
        .map(|method| arm(interface, method));
    let untyped = format!("`{name}` for whoever serves it: the main object of a session, for instance.");
    quote! {
        const _: () = {
            /// Answers calls with the methods of what it holds.
            struct __Glue<__T>(::std::sync::Arc<__T>);

            impl<__T: #name> #library::Target for __Glue<__T> {
                #[allow(unused_mut, unused_variables, clippy::unit_arg, clippy::let_unit_value)]
                fn call(&self, mut call: #library::Call) -> #library::Answer {
                    match call.method.as_str() {
                        #(#calls)*
                        _ => #library::Answer::error(call.not_a_function()),
                    }
                }

                #[allow(clippy::unit_arg, clippy::let_unit_value)]
                fn get(&self, name: &str) -> #library::Answer {
                    match name {
                        #(#reads)*
                        _ => #library::Answer::Ready(::core::result::Result::Ok(#library::Value::Undefined)),
                    }
                }

                fn methods(&self) -> &[&str] {
                    &[#(#names),*]
                }
            }

            impl #stub {
                /// A reference to an object of ours, to be passed to peers.
                pub fn new(target: impl #name) -> Self {
                    Self::shared(::std::sync::Arc::new(target))
                }

                /// As `new`, for an object that is used here as well.
                pub fn shared(target: ::std::sync::Arc<impl #name>) -> Self {
                    Self(#library::Stub::new(__Glue(target)))
                }

                #[doc = #untyped]
                pub fn target(target: impl #name) -> ::std::sync::Arc<dyn #library::Target> {
                    ::std::sync::Arc::new(__Glue(::std::sync::Arc::new(target)))
                }
            }
        };
    }
}

fn arm(interface: &Interface, method: &Method) -> TokenStream {
    let (library, name) = (&interface.library, interface.name());
    let Method {
        name: function,
        wire,
        conditions,
        arguments,
        ..
    } = method;
    // Not by their own names: those may be names of what is written here.
    let locals: Vec<_> = (0..arguments.len())
        .map(|index| format_ident!("argument_{index}"))
        .collect();
    let decoded = arguments.iter().enumerate().map(|(index, (argument, kind))| {
        let (local, shown) = (&locals[index], argument.to_string());
        let shown = shown.trim_start_matches("r#");
        // Where the type is, so that the compiler points there if it cannot be decoded.
        let decode = quote_spanned!(kind.span()=> #library::__private::argument::<#kind>);
        quote! {
            let #local = match #decode(&mut call, #index, #shown) {
                ::core::result::Result::Ok(decoded) => decoded,
                ::core::result::Result::Err(error) => return #library::Answer::error(error),
            };
        }
    });
    let call = quote!(#name::#function(&*this, #(#locals),*));
    let call = if method.is_async {
        quote!(#call.await)
    } else {
        call
    };
    let value = method.result.value();
    let outcome = if method.result.is_fallible() {
        let encode = quote_spanned!(value.span()=> #library::__private::answer_fallible::<#value, _>);
        quote!(#encode(#call))
    } else {
        let encode = quote_spanned!(value.span()=> #library::__private::answer::<#value>);
        quote!(#encode(&#call))
    };
    let answer = if method.is_async {
        quote!(#library::Answer::later(async move { #outcome }))
    } else {
        quote!(#library::Answer::Ready(#outcome))
    };
    quote! {
        #(#conditions)*
        #wire => {
            #(#decoded)*
            let this = ::std::sync::Arc::clone(&self.0);
            #answer
        }
    }
}
