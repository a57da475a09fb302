//! The macro behind `commands.rs`: from the rows it makes the enum of the commands, what is known of
//! each, the requests that the agent gets, and how a call is read.

/// See `commands.rs`, where it is used once.
macro_rules! commands {
    (
        connection { $(
            $(#[doc = $own_help:literal])+
            $own_word:literal $own:ident($own_call:ty) -> $own_reply:ty, $own_patience:ident;
        )* }
        now { $(
            $(#[doc = $now_help:literal])+
            $now_word:literal $now:ident($now_call:ty $(=> $now_checked:ty)?) -> $now_reply:ty, $now_patience:ident;
        )* }
        later { $(
            $(#[doc = $later_help:literal])+
            $later_word:literal $later:ident($later_call:ty $(=> $later_checked:ty)?) -> $later_reply:ty, $later_patience:ident;
        )* }
    ) => {
        commands! { @commands
            $( [$($own_help)+] $own_word $own($own_call) -> $own_reply, $own_patience, Connection; )*
            $( [$($now_help)+] $now_word $now($now_call) -> $now_reply, $now_patience, Now; )*
            $( [$($later_help)+] $later_word $later($later_call) -> $later_reply, $later_patience, Later; )*
        }

        /// What the agent answers at once.
        #[derive(Clone, Debug)]
        #[allow(missing_docs, reason = "described by the rows")]
        pub enum NowRequest { $( $now(commands!(@asked $now_call $(, $now_checked)?)), )* }

        /// What the agent answers when it is done, by a message.
        #[derive(Clone, Debug)]
        #[allow(missing_docs, reason = "described by the rows")]
        pub enum LaterRequest { $( $later(commands!(@asked $later_call $(, $later_checked)?)), )* }

        /// A call as a connection has read it.
        pub(super) enum Incoming {
            $( $own($own_call), )*
            $( $( $now(commands!(@first $now_call, $now_checked)), )? )*
            $( $( $later(commands!(@first $later_call, $later_checked)), )? )*
            /// One that the connection has nothing to say about.
            Passed(Request),
        }

        impl RpcCommand {
            /// Reads the call from the bytes of its body, of none if it has none.
            pub(super) fn read(self, bytes: &[u8]) -> Result<Incoming, RecordError> {
                Ok(match self {
                    $( RpcCommand::$own => Incoming::$own(<$own_call>::read(bytes)?), )*
                    $( RpcCommand::$now => commands!(
                        @received Now NowRequest $now, <$now_call>::read(bytes)? $(, $now_checked)?
                    ), )*
                    $( RpcCommand::$later => commands!(
                        @received Later LaterRequest $later, <$later_call>::read(bytes)? $(, $later_checked)?
                    ), )*
                })
            }
        }
    };
    (@commands $(
        [$($help:literal)+] $word:literal $name:ident($call:ty) -> $reply:ty, $patience:ident, $answered:ident;
    )*) => {
        /// A command of the control protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "described by the rows")]
        pub enum RpcCommand { $( $name, )* }

        impl RpcCommand {
            /// Every command.
            pub(crate) const ALL: &[RpcCommand] = &[$( RpcCommand::$name, )*];

            fn row(self) -> CommandRow {
                match self { $(
                    RpcCommand::$name => CommandRow {
                        word: $word,
                        patience: Patience::$patience,
                        has_request_body: <$call>::PRESENT,
                        has_reply_body: <$reply>::PRESENT,
                    },
                )* }
            }

            /// What the reference says of a command. Apart from the row, so that programs that print
            /// no reference do not carry it.
            fn documentation(self) -> Documentation {
                match self { $(
                    RpcCommand::$name => Documentation {
                        help: concat!($($help),+),
                        answered: Answered::$answered,
                        request_fields: <$call>::FIELDS,
                        reply_fields: <$reply>::FIELDS,
                    },
                )* }
            }

            /// The reply body that goes with an error, if the command has one.
            pub(super) fn empty_reply(self) -> Option<Vec<u8>> {
                let mut body = Vec::new();
                match self { $( RpcCommand::$name => <$reply>::default().write(&mut body), )* }
                self.has_reply_body().then_some(body)
            }
        }

        $( impl Call for $call {
            const COMMAND: RpcCommand = RpcCommand::$name;
            type Response = $reply;
        } )*
    };
    (@asked $call:ty) => { $call };
    (@asked $call:ty, $checked:ty) => { $checked };
    (@first $call:ty, $checked:ty) => { $call };
    (@received $kind:ident $requests:ident $name:ident, $call:expr) => {
        Incoming::Passed(Request::$kind($requests::$name($call)))
    };
    (@received $kind:ident $requests:ident $name:ident, $call:expr, $checked:ty) => {
        Incoming::$name($call)
    };
}
pub(super) use commands;
