//! The typed stub of an interface.

use proc_macro2::TokenStream;
use quote::quote;

use crate::interface::{Interface, Method};

pub(crate) fn stub(interface: &Interface) -> TokenStream {
    let (library, visibility) = (&interface.library, interface.visibility());
    let (name, stub, calls) = (interface.name(), interface.stub(), interface.calls());
    let about = format!(
        "A reference to a [`{name}`], the peer's or one of ours. Clones are further references; the peer's is released when the \
         last goes."
    );
    let about_calls = format!(
        "The calls that can be made on a [`{name}`] elsewhere: on its stub, and on a result that will be one and is not there \
         yet."
    );
    let provided = interface.methods.iter().map(|method| {
        let (signature, documentation, conditions) =
            (signature(interface, method), &method.documentation, &method.conditions);
        let (wire, shown) = (&method.wire, method.name.to_string());
        let promise = if method.is_property {
            quote!(#library::Callable::read_property(self, #wire))
        } else {
            let arguments = arguments(method);
            quote!(#library::Callable::call_method(self, #wire, [#(#library::Argument::into_argument(#arguments)),*]))
        };
        quote! {
            #(#documentation)*
            #(#conditions)*
            #signature {
                #library::Pending::new(#promise).named(#shown)
            }
        }
    });
    let inherent = interface.methods.iter().map(|method| {
        let (signature, documentation, conditions) = (
            signature(interface, method),
            &method.documentation,
            &method.conditions,
        );
        let (function, arguments) = (&method.name, arguments(method));
        quote! {
            #(#documentation)*
            #(#conditions)*
            pub #signature {
                #calls::#function(self, #(#arguments),*)
            }
        }
    });
    quote! {
        #[doc = #about]
        #[derive(Clone, Debug)]
        #visibility struct #stub(#library::Stub);

        #[doc = #about_calls]
        #visibility trait #calls: #library::Callable {
            #(#provided)*
        }

        impl #calls for #stub {}
        impl<__E> #calls for #library::Pending<#stub, __E> {}

        impl #stub {
            #(#inherent)*

            /// The same reference, without its interface.
            pub fn untyped(&self) -> &#library::Stub {
                &self.0
            }

            /// Calls back when the session that this reference belongs to breaks, at once if it is broken.
            pub fn on_broken(
                &self,
                callback: impl FnOnce(&#library::Error) + Send + 'static,
            ) -> #library::Registration {
                self.0.on_broken(callback)
            }
        }

        /// Nothing is checked: whether the other side has this interface shows when it is called.
        impl ::core::convert::From<#library::Stub> for #stub {
            fn from(stub: #library::Stub) -> Self {
                Self(stub)
            }
        }

        impl ::core::convert::From<#stub> for #library::Stub {
            fn from(stub: #stub) -> Self {
                stub.0
            }
        }

        impl #library::Callable for #stub {
            fn call_method(
                &self,
                method: &str,
                arguments: impl ::core::iter::IntoIterator<
                    Item = ::core::result::Result<#library::Value, #library::Error>,
                >,
            ) -> #library::Promise {
                #library::Callable::call_method(&self.0, method, arguments)
            }

            fn read_property(&self, name: &str) -> #library::Promise {
                #library::Callable::read_property(&self.0, name)
            }
        }

        impl #library::__private::serde::Serialize for #stub {
            fn serialize<__S: #library::__private::serde::Serializer>(
                &self,
                serializer: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                #library::__private::serde::Serialize::serialize(&self.0, serializer)
            }
        }

        impl<'de> #library::__private::serde::Deserialize<'de> for #stub {
            fn deserialize<__D: #library::__private::serde::Deserializer<'de>>(
                deserializer: __D,
            ) -> ::core::result::Result<Self, __D::Error> {
                #library::__private::serde::Deserialize::deserialize(deserializer).map(Self)
            }
        }
    }
}

fn arguments(method: &Method) -> impl Iterator<Item = &syn::Ident> {
    method.arguments.iter().map(|(name, _)| name)
}

fn signature(interface: &Interface, method: &Method) -> TokenStream {
    let library = &interface.library;
    let (name, result) = (&method.name, method.result.pending(library));
    let (arguments, kinds) = (arguments(method), method.arguments.iter().map(|(_, kind)| kind));
    quote!(fn #name(&self, #(#arguments: impl #library::Argument<#kinds>),*) -> #result)
}
