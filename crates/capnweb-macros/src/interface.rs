//! What a trait says, as far as it can be called from elsewhere.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, ItemTrait, LitStr, Pat, PathArguments, Result,
    ReturnType, Token, TraitItem, TraitItemFn, Type, parse_quote,
};

/// What every stub has besides the methods of its interface.
const TAKEN: [&str; 5] = ["new", "shared", "target", "untyped", "on_broken"];

/// `#[interface(…)]`
pub(crate) struct Options {
    /// How the library is called where the trait is.
    library: syn::Path,
    case: Case,
}

#[derive(Clone, Copy)]
enum Case {
    Camel,
    Pascal,
    Snake,
}

impl Case {
    fn apply(self, name: &str) -> String {
        let name = name.trim_start_matches("r#");
        let mut out = String::with_capacity(name.len());
        let mut capital = matches!(self, Self::Pascal);
        for letter in name.chars() {
            match (self, letter) {
                (Self::Snake, letter) => out.push(letter),
                (_, '_') if !out.is_empty() => capital = true,
                (_, letter) if std::mem::take(&mut capital) => out.extend(letter.to_uppercase()),
                (_, letter) => out.push(letter),
            }
        }
        out
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self {
            library: parse_quote!(::capnweb),
            case: Case::Camel,
        };
        while !input.is_empty() {
            if input.peek(Token![crate]) {
                input.parse::<Token![crate]>()?;
                input.parse::<Token![=]>()?;
                options.library = input.parse::<LitStr>()?.parse()?;
            } else {
                let name: Ident = input.parse()?;
                if name != "rename_all" {
                    return Err(Error::new(name.span(), "known are `rename_all` and `crate`"));
                }
                input.parse::<Token![=]>()?;
                let case: LitStr = input.parse()?;
                options.case = match case.value().as_str() {
                    "camelCase" => Case::Camel,
                    "PascalCase" => Case::Pascal,
                    "snake_case" => Case::Snake,
                    _ => {
                        return Err(Error::new(
                            case.span(),
                            "one of `camelCase`, `PascalCase`, `snake_case`",
                        ));
                    }
                };
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

pub(crate) struct Interface {
    pub(crate) library: syn::Path,
    /// The trait, as it will stand in the source.
    declared: ItemTrait,
    pub(crate) methods: Vec<Method>,
}

pub(crate) struct Method {
    pub(crate) name: Ident,
    /// What peers call it.
    pub(crate) wire: String,
    pub(crate) documentation: Vec<Attribute>,
    pub(crate) conditions: Vec<Attribute>,
    pub(crate) arguments: Vec<(Ident, Type)>,
    pub(crate) result: Outcome,
    pub(crate) is_async: bool,
    pub(crate) is_property: bool,
}

/// What a method gives.
pub(crate) struct Outcome {
    value: Type,
    thrown: Thrown,
}

/// The error of a method.
enum Thrown {
    /// It cannot fail.
    Nothing,
    /// Of `Result<T, E>`.
    Known(Type),
    /// Of an alias of `Result`, as it was written: what it stands for is known to the compiler.
    OfAlias(Type),
}

impl Interface {
    pub(crate) fn read(options: Options, mut item: ItemTrait) -> Result<Self> {
        if !item.generics.params.is_empty() || item.generics.where_clause.is_some() {
            let text = "an interface has no parameters: peers cannot choose types";
            return Err(Error::new(item.generics.span(), text));
        }
        let mut faults = Faults::default();
        let mut methods: Vec<Method> = Vec::new();
        for inner in &mut item.items {
            let TraitItem::Fn(function) = inner else {
                faults.add(inner.span(), "an interface has methods only");
                continue;
            };
            match read_method(function, options.case) {
                Err(fault) => faults.0.push(fault),
                Ok(method) => {
                    if methods.iter().any(|other| other.wire == method.wire) {
                        let text = format!("another method is called `{}` by peers", method.wire);
                        faults.add(method.name.span(), &text);
                    }
                    methods.push(method);
                }
            }
        }
        faults.check()?;
        item.supertraits.push(parse_quote!(::core::marker::Send));
        item.supertraits.push(parse_quote!(::core::marker::Sync));
        item.supertraits.push(parse_quote!('static));
        Ok(Self {
            library: options.library,
            declared: item,
            methods,
        })
    }

    pub(crate) fn declaration(&self) -> &ItemTrait {
        &self.declared
    }

    pub(crate) fn visibility(&self) -> &syn::Visibility {
        &self.declared.vis
    }

    /// The trait of the server's side.
    pub(crate) fn name(&self) -> &Ident {
        &self.declared.ident
    }

    pub(crate) fn stub(&self) -> Ident {
        format_ident!("{}Stub", self.declared.ident)
    }

    pub(crate) fn calls(&self) -> Ident {
        format_ident!("{}Calls", self.declared.ident)
    }
}

/// All mistakes at once, rather than one per compilation.
#[derive(Default)]
struct Faults(Vec<Error>);

impl Faults {
    fn add(&mut self, span: Span, text: &str) {
        self.0.push(Error::new(span, text));
    }

    fn check(self) -> Result<()> {
        let all = self.0.into_iter().reduce(|mut all, next| {
            all.combine(next);
            all
        });
        all.map_or(Ok(()), Err)
    }
}

/// Reads a method, and writes its declaration so that its future may run on any thread.
fn read_method(function: &mut TraitItemFn, case: Case) -> Result<Method> {
    let (wire, is_property) = read_attributes(&mut function.attrs)?;
    let signature = &mut function.sig;
    if !signature.generics.params.is_empty() {
        let text = "a method of an interface has no parameters of its own: peers cannot choose types";
        return Err(Error::new(signature.generics.span(), text));
    }
    let name = signature.ident.clone();
    let mut inputs = signature.inputs.iter();
    match inputs.next() {
        Some(FnArg::Receiver(receiver)) if is_shared(receiver) => {}
        other => {
            let span = other.map_or_else(|| signature.paren_token.span.join(), Spanned::span);
            return Err(Error::new(
                span,
                "peers call an object that is shared: `&self` comes first",
            ));
        }
    }
    let mut arguments = Vec::new();
    for input in inputs {
        let FnArg::Typed(argument) = input else { continue };
        let Pat::Ident(pattern) = &*argument.pat else {
            return Err(Error::new(
                argument.pat.span(),
                "an argument has a name, which errors give",
            ));
        };
        if let Type::Reference(reference) = &*argument.ty {
            let text = "an argument comes from elsewhere and is owned: `String`, not `&str`";
            return Err(Error::new(reference.span(), text));
        }
        if matches!(&*argument.ty, Type::ImplTrait(_)) {
            let text = "a peer cannot choose a type: name one, such as `Callback<fn(String)>` or another interface's stub";
            return Err(Error::new(argument.ty.span(), text));
        }
        arguments.push((pattern.ident.clone(), (*argument.ty).clone()));
    }
    if is_property && !arguments.is_empty() {
        return Err(Error::new(
            signature.inputs.span(),
            "a property is read without arguments",
        ));
    }
    let written: Type = match &signature.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, written) => (**written).clone(),
    };
    if let Type::Reference(_) | Type::ImplTrait(_) = written {
        let text = "a result goes elsewhere and is owned, of a type with a name";
        return Err(Error::new(written.span(), text));
    }
    let wire = wire.unwrap_or_else(|| LitStr::new(&case.apply(&name.to_string()), name.span()));
    if capnweb_proto::is_prototype_name(&wire.value()) {
        let text = format!(
            "peers cannot call `{}`: the protocol does not follow members of Object.prototype",
            wire.value()
        );
        return Err(Error::new(wire.span(), text));
    }
    if TAKEN.contains(&name.to_string().as_str()) {
        let text = format!("every stub has `{name}`: take another name, and say #[rpc(name = \"{name}\")]");
        return Err(Error::new(name.span(), text));
    }
    let is_async = signature.asyncness.take().is_some();
    if is_async {
        signature.output =
            parse_quote!(-> impl ::core::future::Future<Output = #written> + ::core::marker::Send);
        if let Some(body) = function.default.take() {
            function.default = Some(parse_quote!({ async move #body }));
            function
                .attrs
                .push(parse_quote!(#[allow(clippy::manual_async_fn)]));
        }
    }
    let of = |path| {
        let kept = |attribute: &&Attribute| attribute.path().is_ident(path);
        function.attrs.iter().filter(kept).cloned().collect()
    };
    Ok(Method {
        name,
        wire: wire.value(),
        documentation: of("doc"),
        conditions: of("cfg"),
        arguments,
        result: Outcome::read(written),
        is_async,
        is_property,
    })
}

fn is_shared(receiver: &syn::Receiver) -> bool {
    quote!(#receiver).to_string().replace(' ', "") == "&self"
}

/// Takes `#[rpc(…)]` out: the name for peers, and whether it is a property.
fn read_attributes(attributes: &mut Vec<Attribute>) -> Result<(Option<LitStr>, bool)> {
    let (mut name, mut is_property) = (None, false);
    for attribute in attributes.extract_if(.., |attribute| attribute.path().is_ident("rpc")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                name = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("get") {
                is_property = true;
            } else {
                return Err(meta.error("known are `name = \"…\"` and `get`"));
            }
            Ok(())
        })?;
    }
    Ok((name, is_property))
}

impl Outcome {
    fn read(written: Type) -> Self {
        match result_of(&written).as_slice() {
            [] => Self {
                value: written,
                thrown: Thrown::Nothing,
            },
            [value] => Self {
                value: value.clone(),
                thrown: Thrown::OfAlias(written),
            },
            [value, error, ..] => Self {
                value: value.clone(),
                thrown: Thrown::Known(error.clone()),
            },
        }
    }

    pub(crate) fn value(&self) -> &Type {
        &self.value
    }

    pub(crate) fn is_fallible(&self) -> bool {
        !matches!(self.thrown, Thrown::Nothing)
    }

    /// What awaiting it at the client gives: the value and the error.
    pub(crate) fn pending(&self, library: &syn::Path) -> TokenStream {
        let value = &self.value;
        match &self.thrown {
            Thrown::Nothing => quote!(#library::Pending<#value>),
            Thrown::Known(error) => quote!(#library::Pending<#value, #error>),
            Thrown::OfAlias(written) => {
                quote!(#library::Pending<#value, <#written as #library::__private::Fallible>::Error>)
            }
        }
    }
}

/// The types of a `Result`; of anything else none.
fn result_of(written: &Type) -> Vec<Type> {
    let Type::Path(path) = written else {
        return Vec::new();
    };
    match path.path.segments.last() {
        Some(last) if last.ident == "Result" => match &last.arguments {
            PathArguments::AngleBracketed(arguments) => arguments
                .args
                .iter()
                .filter_map(|argument| match argument {
                    GenericArgument::Type(argument) => Some(argument.clone()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::{Case, Interface, Options};

    #[test]
    fn names_change_their_case() {
        for (case, expected) in [
            (Case::Camel, "getUserById"),
            (Case::Pascal, "GetUserById"),
            (Case::Snake, "get_user_by_id"),
        ] {
            assert_eq!(case.apply("get_user_by_id"), expected);
        }
        assert_eq!(Case::Camel.apply("r#type"), "type");
        assert_eq!(Case::Camel.apply("_private_thing"), "_privateThing");
    }

    /// What the compiler would say to a trait of these methods.
    fn said(options: proc_macro2::TokenStream, methods: proc_macro2::TokenStream) -> Vec<String> {
        let options: Options = match syn::parse2(options) {
            Ok(options) => options,
            Err(error) => return vec![error.to_string()],
        };
        let item = syn::parse2(quote!(trait T { #methods })).unwrap();
        match Interface::read(options, item) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
        }
    }

    #[test]
    fn mistakes_are_explained() {
        for (methods, expected) in [
            (
                quote!(
                    fn a(&self);
                ),
                "",
            ),
            (
                quote!(
                    fn a(&mut self);
                ),
                "peers call an object that is shared: `&self` comes first",
            ),
            (
                quote!(
                    fn a();
                ),
                "peers call an object that is shared: `&self` comes first",
            ),
            (
                quote!(
                    fn a(&self, b: &str);
                ),
                "an argument comes from elsewhere and is owned: `String`, not `&str`",
            ),
            (
                quote!(
                    fn a(&self, (b, c): (u8, u8));
                ),
                "an argument has a name, which errors give",
            ),
            (
                quote!(
                    fn a(&self) -> &str;
                ),
                "a result goes elsewhere and is owned, of a type with a name",
            ),
            (
                quote!(
                    const A: u8;
                ),
                "an interface has methods only",
            ),
            (
                quote!(
                    #[rpc(get)]
                    fn a(&self, b: u8);
                ),
                "a property is read without arguments",
            ),
            (
                quote!(
                    #[rpc(gett)]
                    fn a(&self);
                ),
                "known are `name = \"…\"` and `get`",
            ),
            (
                quote!(
                    #[rpc(name = "b")]
                    fn a(&self);
                    fn b(&self);
                ),
                "another method is called `b` by peers",
            ),
            (
                quote!(
                    fn new(&self);
                ),
                "every stub has `new`: take another name, and say #[rpc(name = \"new\")]",
            ),
            (
                quote!(
                    fn value_of(&self);
                ),
                "peers cannot call `valueOf`: the protocol does not follow members of Object.prototype",
            ),
        ] {
            let said = said(quote!(), methods.clone());
            assert_eq!(said.join("; "), expected, "{methods}");
        }
        assert_eq!(
            said(quote!(rename = "x"), quote!()),
            ["known are `rename_all` and `crate`"]
        );
        assert_eq!(
            said(
                quote!(),
                quote!(
                    fn a(&mut self);
                    fn b(&mut self);
                )
            )
            .len(),
            2
        );
    }
}
