//! The names of the commands and the shape of what follows them.

/// A command of the control protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named after the words of the protocol")]
pub enum Command {
    Handshake,
    Auth,
    Event,
    ForceLeave,
    Join,
    Members,
    MembersFiltered,
    Stream,
    Monitor,
    Stop,
    Leave,
    InstallKey,
    UseKey,
    RemoveKey,
    ListKeys,
    Tags,
    Query,
    Respond,
    Stats,
    GetCoordinate,
}

impl Command {
    /// Every command.
    pub const ALL: [Command; 20] = [
        Command::Handshake,
        Command::Auth,
        Command::Event,
        Command::ForceLeave,
        Command::Join,
        Command::Members,
        Command::MembersFiltered,
        Command::Stream,
        Command::Monitor,
        Command::Stop,
        Command::Leave,
        Command::InstallKey,
        Command::UseKey,
        Command::RemoveKey,
        Command::ListKeys,
        Command::Tags,
        Command::Query,
        Command::Respond,
        Command::Stats,
        Command::GetCoordinate,
    ];

    /// The word in a request header.
    pub fn as_str(self) -> &'static str {
        match self {
            Command::Handshake => "handshake",
            Command::Auth => "auth",
            Command::Event => "event",
            Command::ForceLeave => "force-leave",
            Command::Join => "join",
            Command::Members => "members",
            Command::MembersFiltered => "members-filtered",
            Command::Stream => "stream",
            Command::Monitor => "monitor",
            Command::Stop => "stop",
            Command::Leave => "leave",
            Command::InstallKey => "install-key",
            Command::UseKey => "use-key",
            Command::RemoveKey => "remove-key",
            Command::ListKeys => "list-keys",
            Command::Tags => "tags",
            Command::Query => "query",
            Command::Respond => "respond",
            Command::Stats => "stats",
            Command::GetCoordinate => "get-coordinate",
        }
    }

    /// The command that a request header names.
    pub fn parse(word: &str) -> Option<Command> {
        Command::ALL.into_iter().find(|command| command.as_str() == word)
    }

    /// Whether a second value, the body, follows the request header.
    pub fn has_request_body(self) -> bool {
        !matches!(self, Command::Members | Command::Leave | Command::ListKeys | Command::Stats)
    }

    /// Whether a second value follows the reply header. Clients wait for it after an error too.
    pub fn has_reply_body(self) -> bool {
        matches!(
            self,
            Command::Join
                | Command::Members
                | Command::MembersFiltered
                | Command::InstallKey
                | Command::UseKey
                | Command::RemoveKey
                | Command::ListKeys
                | Command::Stats
                | Command::GetCoordinate
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for command in Command::ALL {
            assert_eq!(Command::parse(command.as_str()), Some(command));
        }
        assert_eq!(Command::parse("Members"), None);
        assert_eq!(Command::parse(""), None);
    }
}
