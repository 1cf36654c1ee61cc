"""The product's verbs: the only thing faces call."""

from __future__ import annotations

from pathlib import Path

from daimon_mcp.operations.abuse import Abuse
from daimon_mcp.operations.accounts import Accounts
from daimon_mcp.operations.approving import Approving
from daimon_mcp.operations.attachments import Attachments
from daimon_mcp.operations.auditing import Auditing
from daimon_mcp.operations.backlog import Backlog
from daimon_mcp.operations.changelog import Changelog
from daimon_mcp.operations.completing import Completing
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.credentials import Credentials
from daimon_mcp.operations.delivering import Delivering
from daimon_mcp.operations.directory import Directory
from daimon_mcp.operations.domain_keys import DomainKeys
from daimon_mcp.operations.domains import Domains
from daimon_mcp.operations.drafts import Drafts
from daimon_mcp.operations.event_payloads import EventPayloads
from daimon_mcp.operations.events import Events
from daimon_mcp.operations.explaining import Explaining
from daimon_mcp.operations.extracting import Extracting
from daimon_mcp.operations.fetching import Fetching
from daimon_mcp.operations.figures import Figures
from daimon_mcp.operations.file_links import FileLinks
from daimon_mcp.operations.filing import Filing
from daimon_mcp.operations.folder import Folder
from daimon_mcp.operations.guidance import Guide
from daimon_mcp.operations.hook_deliveries import HookDeliveries
from daimon_mcp.operations.hook_secrets import HookSecrets
from daimon_mcp.operations.inboxes import Inboxes
from daimon_mcp.operations.ingesting import Ingesting
from daimon_mcp.operations.intake import Intake
from daimon_mcp.operations.joining import Joining
from daimon_mcp.operations.keys import Keys
from daimon_mcp.operations.lists import Lists
from daimon_mcp.operations.messages import Messages
from daimon_mcp.operations.oversight import Oversight
from daimon_mcp.operations.policing import Policing
from daimon_mcp.operations.queueing import Queueing
from daimon_mcp.operations.receiving import Authenticating, Receiving
from daimon_mcp.operations.releasing import Releasing
from daimon_mcp.operations.replying import Replying
from daimon_mcp.operations.reports import Reports
from daimon_mcp.operations.rereading import Rereading
from daimon_mcp.operations.searching import Searching
from daimon_mcp.operations.sending import Sending
from daimon_mcp.operations.signing import Signing
from daimon_mcp.operations.spool import Spool
from daimon_mcp.operations.submitted import Submitted
from daimon_mcp.operations.submitters import Submitters
from daimon_mcp.operations.submitting import Submitting
from daimon_mcp.operations.suppressing import Suppressing
from daimon_mcp.operations.telling import Telling
from daimon_mcp.operations.threads import Threads
from daimon_mcp.operations.upgrades import Upgrades
from daimon_mcp.operations.uploading import Uploading
from daimon_mcp.operations.waiting import Waiting
from daimon_mcp.operations.watching import Watching
from daimon_mcp.operations.webhooks import Webhooks
from daimon_mcp.texts import Texts


class Operations:
    """One attribute for each area, built in order of need."""

    def __init__(
        self,
        core: Core,
        master_key: bytes,
        *,
        spool_folder: Path,
        authenticating: Authenticating,
        prompts_dir: Path | None = None,
    ) -> None:
        self.core = core
        self.texts = Texts(prompts_dir)
        self.credentials = Credentials(core, master_key)
        core.verp_key = self.credentials.derive("verp")
        self.keys = Keys(core, self.credentials)
        self.upgrades = Upgrades(core, self.credentials)
        self.approving = Approving(core, self.upgrades)
        self.accounts = Accounts(core, self.credentials)
        self.figures = Figures(core, self.accounts)
        self.inboxes = Inboxes(core, self.credentials)
        self.joining = Joining(core, self.inboxes)
        self.messages = Messages(core)
        self.waiting = Waiting(core, self.messages)
        self.changelog = Changelog(core)
        self.explaining = Explaining(core, self.texts)
        self.searching = Searching(core)
        self.watching = Watching(core)
        self.threads = Threads(core, self.messages)
        self.completing = Completing(core, self.messages, self.threads)
        self.filing = Filing(core)
        self.rereading = Rereading(core)
        self.lists = Lists(core)
        self.file_links = FileLinks(core, self.credentials)
        folder = Folder(core)
        self.extracting = Extracting(core)
        self.attachments = Attachments(core, self.file_links, folder, self.extracting)
        self.uploading = Uploading(core, self.file_links, folder)
        reports = Reports(core, self.texts)
        backlog = Backlog(core)
        self.sending = Sending(core, self.upgrades, backlog)
        self.releasing = Releasing(core, reports)
        self.replying = Replying(core, self.sending)
        self.drafts = Drafts(core, self.sending, self.releasing, self.replying)
        self.directory = Directory(core)
        self.spool = Spool(core, spool_folder)
        self.abuse = Abuse(core)
        policing = Policing(
            core.clock,
            trusts=authenticating.trusts,
            messages_per_minute=core.policy.messages_per_minute,
            greylist_seconds=core.policy.greylist_seconds,
        )
        self.receiving = Receiving(core, self.spool, self.directory, authenticating, policing)
        self.ingesting = Ingesting(core, self.spool, self.directory, self.receiving, policing)
        submitters = Submitters(core, self.directory, self.credentials, self.abuse)
        self.submitting = Submitting(core, self.spool, self.directory, submitters, self.abuse, backlog, self.texts)
        self.intake = Intake(core, self.spool, self.receiving, Submitted(core, self.spool, self.directory, reports))
        self.signing = Signing(core, self.credentials)
        self.domain_keys = DomainKeys(core, self.signing, self.texts)
        self.domains = Domains(core, self.domain_keys, self.texts)
        self.delivering = Delivering(core, reports, self.signing)
        self.fetching = Fetching(core, self.spool, self.directory)
        self.suppressing = Suppressing(core)
        self.oversight = Oversight(core)
        self.auditing = Auditing(core)
        self.queueing = Queueing(core)
        payloads = EventPayloads(core, self.messages)
        hook_secrets = HookSecrets(self.credentials)
        self.events = Events(core, payloads)
        self.webhooks = Webhooks(core, hook_secrets)
        self.hook_deliveries = HookDeliveries(core, self.webhooks, payloads)
        self.telling = Telling(core, hook_secrets, payloads)
        self.guide = Guide(self.texts, self.upgrades)
